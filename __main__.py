"""The whole platform: settings, a cluster, Kubeflow and Redis on it, and a gateway before them."""

import os

import pulumi

from components import sdk
from components import settings as configuration
from components.choose import (
    cluster_of,
    gateway_args,
    gateway_of,
    kubeflow_args,
    redis_guard_of,
    redis_of,
    signed_in,
)
from components.errors import shown_plainly
from components.kubeflow.component import Kubeflow, checked

sdk.skip_debug_messages()
sdk.warn_of_other_engine(os.environ)
with shown_plainly():
    settings = configuration.load()
    arguments = kubeflow_args(settings)
    # Before the cluster: whatever is wrong with settings or manifests is told before it starts.
    objects = checked(arguments, pulumi.log.info)
    entry = gateway_args(settings, objects, pulumi.log.info)
    cluster = cluster_of(settings)
    # As early: a change that loses data ends here.
    redis_guard = redis_guard_of(settings, cluster)
    arguments = signed_in(arguments, settings, cluster)
    kubeflow = Kubeflow("kubeflow", cluster, arguments, objects)
    redis = redis_of(settings, cluster, redis_guard, kubeflow.resources)
    gateway = gateway_of(entry, cluster, kubeflow, redis)

sdk.wait_for_all((gateway or kubeflow).resources.values())
pulumi.export("kubeconfig", cluster.kubeconfig)
pulumi.export("url", kubeflow.url)
pulumi.export("email", settings.user_email)
pulumi.export("password", kubeflow.password)
pulumi.export("portForward", kubeflow.port_forward)
for part in (redis, gateway):
    for name, value in part.outputs.items() if part else ():
        pulumi.export(name, value)
