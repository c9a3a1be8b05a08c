"""The tests; helpers in ``support`` and ``chaos`` explain their failed asserts as tests do."""

import pytest

pytest.register_assert_rewrite("tests.support", "tests.chaos")
