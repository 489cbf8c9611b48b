"""The parameter table: positions, conversions and JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthray.errors import ConfigError, DataError
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Choice, Constant, ParameterTable, Range
from synthray.synth.presets import random_labels


def test_instrument_has_the_notebooks_counts_and_positions() -> None:
    parameters = INSTRUMENT.parameters
    assert len(INSTRUMENT) == 46
    assert len(INSTRUMENT.learned) == 38 == len(INSTRUMENT.ranges) + len(INSTRUMENT.choices)
    assert isinstance(parameters[0], Constant)
    assert isinstance(parameters[9], Range)
    assert isinstance(parameters[10], Choice)
    assert parameters[10].num_outputs == 3
    index = INSTRUMENT.index["amplitude_envelope_release"]
    names = [p.name for p in parameters[index : index + 3]]
    assert names == ["amplitude_envelope_release", "amplitude_lfo_waveform", "amplitude_lfo_frequency"]
    assert parameters[index + 1].num_outputs == 4


def test_instrument_every_parameter_has_description_and_unit() -> None:
    assert all(p.description for p in INSTRUMENT.parameters)
    assert all(p.unit for p in INSTRUMENT.parameters if not isinstance(p, Choice))


@given(st.floats(0, 1))
def test_range_conversions_are_inverse(position: float) -> None:
    for parameter in INSTRUMENT.ranges:
        value = parameter.from_unit_interval(position)
        assert parameter.minimum * (1 - 1e-12) - 1e-12 <= value or parameter.minimum < 0
        nearest = round(position * parameter.num_steps) / parameter.num_steps if parameter.step else position
        assert float(parameter.to_unit_interval(value)) == pytest.approx(nearest, abs=1e-9)


def test_range_from_unit_interval_gives_ends_and_middle() -> None:
    for parameter in INSTRUMENT.ranges:
        assert float(parameter.from_unit_interval(0.0)) == pytest.approx(parameter.minimum)
        assert float(parameter.from_unit_interval(1.0)) == pytest.approx(parameter.maximum)
        middle = float(parameter.from_unit_interval(0.5))
        if parameter.curve == "log":
            assert middle == pytest.approx((parameter.minimum * parameter.maximum) ** 0.5)
        else:
            assert middle == pytest.approx((parameter.minimum + parameter.maximum) / 2)


def test_labels_and_settings_are_inverse() -> None:
    labels = random_labels(INSTRUMENT, 0, 0, 100)
    settings = INSTRUMENT.labels_to_settings(labels)
    assert settings.shape == (100, 46)
    assert settings.dtype == np.float32
    back = INSTRUMENT.settings_to_labels(settings)
    np.testing.assert_allclose(back, labels, atol=1e-5)
    for parameter in INSTRUMENT.choices:
        column = INSTRUMENT.label_index[parameter.name]
        np.testing.assert_array_equal(back[:, column], labels[:, column])
    for parameter in INSTRUMENT.parameters:
        if isinstance(parameter, Constant):
            assert (settings[:, INSTRUMENT.index[parameter.name]] == np.float32(parameter.value)).all()


def test_parameter_table_json_round_trip() -> None:
    rows = INSTRUMENT.to_json()
    assert ParameterTable.from_json(json.loads(json.dumps(rows))) == INSTRUMENT
    assert rows[10]["values"] == ("mix", "frequency", "ring")


@pytest.mark.parametrize(
    "row", [{"kind": "knob", "name": "x"}, {"name": "x"}, {"kind": "range", "name": "x", "colour": 1}]
)
def test_parameter_table_from_json_unknown_kind_is_refused(row: dict[str, object]) -> None:
    with pytest.raises(DataError, match=r"parameter 0 of the table: .* is invalid"):
        ParameterTable.from_json([row])


def test_parameters_invalid_values_are_refused() -> None:
    with pytest.raises(ConfigError, match="curve is 'cubic'"):
        Range("x", 0, 1, "cubic")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="not below the maximum"):
        Range("x", 1, 1)
    with pytest.raises(ConfigError, match=r"the step 0\.3 does not divide"):
        Range("x", 0, 1, step=0.3)
    with pytest.raises(ConfigError, match="the step 1 does not divide"):
        Range("x", 1, 2, "log", step=1)
    with pytest.raises(ConfigError, match="above 0"):
        Range("x", 0, 1, "log")
    with pytest.raises(ConfigError, match="repeat"):
        Choice("x", ("a", "a"))
    with pytest.raises(DataError, match="appears twice"):
        ParameterTable((Range("x"), Range("x")))
    with pytest.raises(DataError, match="nothing to learn"):
        ParameterTable((Constant("x"),))
    with pytest.raises(DataError, match="parameter 0: the name is empty"):
        ParameterTable((Range(""),))


_PRINT_LOG_CURVES = """
import hashlib
import numpy as np
from synthray.synth.instrument import INSTRUMENT
positions = np.arange(2**14) / 2**14
digest = hashlib.sha256()
for parameter in INSTRUMENT.learned:
    if getattr(parameter, "curve", "") == "log":
        values = parameter.from_unit_interval(positions)
        digest.update(values.tobytes() + parameter.to_unit_interval(values.astype(np.float32)).tobytes())
print(digest.hexdigest())
"""


def test_log_curves_are_the_same_without_the_widest_instructions_of_this_cpu() -> None:
    found = np._core._multiarray_umath
    wide = [name for name in found.__cpu_dispatch__ if "512" in name or name in ("X86_V4", "AVX2", "FMA3", "X86_V3")]
    if not any(found.__cpu_features__[name] for name in wide):
        pytest.skip("this CPU has no instructions to do without")
    outputs = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _PRINT_LOG_CURVES],
            env=os.environ | {"NPY_DISABLE_CPU_FEATURES": " ".join(without)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for without in ([], wide)
    }
    assert len(outputs) == 1
    assert len(outputs.pop().strip()) == 64
