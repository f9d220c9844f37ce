"""The keys of an Azure ML run configuration: what the SDK writes into each, and why a run does not have it."""

from __future__ import annotations

# what the SDK writes where nobody said anything, by path
USUAL: dict[str, tuple[str, ...]] = {
    "framework": ("python",),
    "target": ("local",),
    "communicator": ("none",),
    "nodeCount": ("1",),
    "history.outputCollection": ("true",),
    "history.snapshotProject": ("true",),
    "history.directoriesToWatch": ('["logs"]',),
    "spark.configuration.spark.app.name": ("azure ml experiment",),
    "spark.configuration.spark.yarn.maxAppAttempts": ("1",),
    "docker.useDocker": ("false",),
    "docker.sharedVolumes": ("true",),
    "docker.shmSize": ("2g",),
    "hdi.yarnDeployMode": ("cluster",),
    "tensorflow.workerCount": ("1",),
    "tensorflow.parameterServerCount": ("1",),
    "mpi.processCountPerNode": ("1",),
    "mpi.nodeCount": ("1",),
    "pytorch.communicationBackend": ("nccl",),
    "pytorch.nodeCount": ("1",),
    "paralleltask.maxRetriesPerWorker": ("0",),
    "paralleltask.workerCountPerNode": ("1",),
    "amlcompute.retainCluster": ("false",),
    "amlcompute.clusterMaxNodeCount": ("1",),
    "credentialPassthrough": ("false",),
    "autoPrepareEnvironment": ("true",),
    "useAbsolutePath": ("false",),
}
# of Spark's settings, those that whoever submits a job for Spark sets itself
SPARK_TAKEN = {
    "spark.master": "`--option master=…` names one",
    "spark.submit.deployMode": "the driver runs here: client mode",
    "spark.pyspark.python": "executors run the environment's interpreter",
    "spark.pyspark.driver.python": "the driver runs the environment's interpreter",
    "spark.jars.packages": "name them in `spark.packages` of the definition: there they are locked",
    "spark.jars.repositories": "name them in `spark.repositories` of the definition",
}
_PROCESSES = ("one process is started", "`torchrun …` or `mpirun …`, run as a command, starts more")
WHY: dict[str, tuple[str, str | None]] = {
    "communicator": _PROCESSES,
    "nodeCount": ("it runs on one node", "`-t TARGET --nodes N`: Slurm and Kubernetes give a run several"),
    "mpi": _PROCESSES,
    "pytorch": _PROCESSES,
    "tensorflow": _PROCESSES,
    "paralleltask": _PROCESSES,
    "history": ("every run keeps its snapshot, its log and its new files", None),
    "spark": ("it runs without a Spark cluster", None),
    "hdi": ("it runs without a Spark cluster", None),
    "docker.useDocker": ("a run says where it runs", "`wardian run -t podman|docker`"),
    "docker.sharedVolumes": ("volumes are a run's", "`wardian run --input NAME=PATH`"),
    "docker.arguments": ("arguments of a container engine widen what a run may do", "`wardian run -t podman --option arguments='…'`"),
    "amlcompute": ("it is a cluster in Azure", None),
    "kubernetescompute": ("it is a cluster in Azure", None),
    "autoClusterComputeSpecification": ("it is a cluster in Azure", None),
    "sourceDirectoryDataStore": ("it is a place in Azure's storage", None),
    "credentialPassthrough": ("a run is you, on this machine", None),
    "identity": ("a run is you, on this machine", None),
    "priority": ("nothing is queued here", None),
    "applicationEndpoints": ("nothing is started beside a run", None),
}  # fmt: skip
