"""All modules that tell how a type is created in moto; a new one is imported here."""

from tests.aws import (
    moto_api,
    moto_cognito,
    moto_edge,
    moto_files,
    moto_redis,
    moto_stack,
    moto_store,
)

ALL = (moto_stack, moto_redis, moto_cognito, moto_files, moto_api, moto_store, moto_edge)
