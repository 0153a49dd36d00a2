"""The whole platform: settings, a cluster, and Kubeflow on it."""

import os

import pulumi

from components import sdk
from components import settings as configuration
from components.choose import cluster_of, kubeflow_args
from components.errors import shown_plainly
from components.kubeflow.component import Kubeflow, checked

sdk.skip_debug_messages()
sdk.warn_of_other_engine(os.environ)
with shown_plainly():
    settings = configuration.load()
    arguments = kubeflow_args(settings)
    # Before the cluster: whatever is wrong with settings or manifests is told before it starts.
    objects = checked(arguments, pulumi.log.info)
    cluster = cluster_of(settings)
    kubeflow = Kubeflow("kubeflow", cluster, arguments, objects)

sdk.wait_for_all(kubeflow.resources)
pulumi.export("kubeconfig", cluster.kubeconfig)
pulumi.export("url", kubeflow.url)
pulumi.export("email", settings.user_email)
pulumi.export("password", kubeflow.password)
pulumi.export("portForward", kubeflow.port_forward)
