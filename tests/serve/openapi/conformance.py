"""Requests that are generated from an OpenAPI document, and checks of their answers."""

from __future__ import annotations

from contextlib import suppress

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.core.control import SkipTest
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def check_conformance(url: str, skipped: tuple[str, ...]) -> None:
    """Send valid and invalid requests to a running service, and fail if an answer is not as its document says.

    Args:
        url: of the OpenAPI document.
        skipped: operations whose names begin with one of these are left out.
    """
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        config = SchemathesisConfig.from_dict({"generation": {"mode": mode.value}})
        for result in schemathesis.openapi.from_url(url, config=config).get_all_operations():
            operation = result.ok()
            if not operation.definition.raw["operationId"].startswith(skipped):
                _call(operation, mode)


def _call(operation: schemathesis.APIOperation, mode: GenerationMode) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=8,
        deadline=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def call(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=CHECKS, timeout=30)

    with suppress(SkipTest):  # nothing about the operation can be wrong
        call()
