"""The bucket of pipelines' artefacts, and the role by which pods reach their part of it."""

from __future__ import annotations

from typing import Final

import pulumi
from pulumi_aws.s3.bucket import Bucket
from pulumi_aws.s3.bucket_lifecycle_configuration import BucketLifecycleConfiguration
from pulumi_aws.s3.bucket_policy import BucketPolicy
from pulumi_aws.s3.bucket_public_access_block import BucketPublicAccessBlock
from pulumi_aws.s3.bucket_server_side_encryption_configuration import (
    BucketServerSideEncryptionConfiguration,
)
from pulumi_aws.s3.bucket_versioning import BucketVersioning

from components.aws import policies
from components.aws.iam import Granted, role
from components.aws.keys import Key
from components.aws.site import Site
from components.cluster.base import EDITOR, ObjectStore

OLD_VERSION_DAYS: Final = 30
"""How long what was written over, or deleted, can be had back."""
_UNFINISHED_DAYS: Final = 7


class Artifacts(pulumi.ComponentResource):
    """A bucket with a prefix for each profile of `awsArtifactProfiles`.

    One role serves all profiles: its session carries the pod's namespace as a tag, and its policy
    names the prefix by that tag. Versioned, encrypted by the stack's key of data, closed to the
    public and to whoever comes without TLS.
    """

    store: ObjectStore
    granted: Granted
    """The role of the profiles' pods."""

    def __init__(
        self, name: str, site: Site, key: Key, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mlplatform:aws:Artifacts", name, None, opts)
        self._name = name
        self._child = pulumi.ResourceOptions(parent=self)
        # The account's number, because all accounts share the names of buckets.
        called = site.scope.apply(lambda scope: f"{scope.cluster}-artifacts-{scope.account}")
        bucket = Bucket(
            name,
            bucket=called,
            force_destroy=not site.aws.protect,
            opts=pulumi.ResourceOptions(parent=self, protect=site.aws.protect),
        )
        self._closed(bucket)
        self._kept(bucket, key)
        profiles = site.aws.artifact_profiles
        trust = site.scope.apply(
            lambda scope: policies.trust_of_namespaces(scope, profiles, EDITOR)
        )
        self.granted = role(
            site, name, trust, self, inline={"keep": bucket.arn.apply(policies.artifacts)}
        )
        self.store = ObjectStore(
            {
                profile: pulumi.Output.concat("s3://", bucket.bucket, "/", profile)
                for profile in profiles
            }
        )
        self.register_outputs({"bucket": bucket.bucket})

    def _closed(self, bucket: Bucket) -> None:
        block = BucketPublicAccessBlock(
            self._name,
            bucket=bucket.bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=self._child,
        )
        BucketPolicy(
            self._name,
            bucket=bucket.bucket,
            policy=bucket.arn.apply(policies.only_by_tls),
            # S3 refuses two changes of a bucket's access at once.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[block]),
        )

    def _kept(self, bucket: Bucket, key: Key) -> None:
        versions = BucketVersioning(
            self._name,
            bucket=bucket.bucket,
            versioning_configuration={"status": "Enabled"},
            opts=self._child,
        )
        BucketServerSideEncryptionConfiguration(
            self._name,
            bucket=bucket.bucket,
            rules=[
                {
                    "apply_server_side_encryption_by_default": {
                        "sse_algorithm": "aws:kms",
                        "kms_master_key_id": key.arn,
                    },
                    # KMS is asked once for many objects.
                    "bucket_key_enabled": True,
                }
            ],
            opts=self._child,
        )
        BucketLifecycleConfiguration(
            self._name,
            bucket=bucket.bucket,
            rules=[
                {
                    "id": "old-versions",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "noncurrent_version_expiration": {"noncurrent_days": OLD_VERSION_DAYS},
                    "abort_incomplete_multipart_upload": {
                        "days_after_initiation": _UNFINISHED_DAYS
                    },
                }
            ],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[versions]),
        )
