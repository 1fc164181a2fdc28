"""GPUs: what their builder makes of every file without having one, and a session on a borrowed one."""
