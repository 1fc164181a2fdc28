"""What all nodes share: process, parameters, diagnostics, worker."""
