"""Several models in place of one."""
