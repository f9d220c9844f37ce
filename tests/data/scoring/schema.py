from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType
from inference_schema.schema_decorators import input_schema, output_schema


def init():
    pass


@input_schema("numbers", StandardPythonParameterType([1, 2]))
@input_schema("factor", StandardPythonParameterType(2))
@output_schema(StandardPythonParameterType({"sum": 6}))
def run(numbers, factor=1):
    return {"sum": sum(numbers) * factor}
