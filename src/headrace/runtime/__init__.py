"""What a process runs, and the only place that wires: settings in, stores and stages out."""
