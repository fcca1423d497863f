"""Dataset: snapshot instants, labels, encoded features and time-ordered slices. Begin with `snapshots`."""
