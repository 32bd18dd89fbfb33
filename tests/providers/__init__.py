"""Tests of the provider files. ``contract.py`` is the suite that each of them passes."""

import pytest

pytest.register_assert_rewrite("tests.providers.contract", "tests.providers.recorded", "tests.providers.wire")
