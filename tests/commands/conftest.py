from tests.client.conftest import quiet_stack
from tests.main_job.conftest import stack, stack_with

__all__ = ["quiet_stack", "stack", "stack_with"]
