"""Who gets what: the policy's table, and the plan and imagekey of an answer. Pure."""
