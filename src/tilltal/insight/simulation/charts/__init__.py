"""Pictures of a simulation as SVG, on the plane of `report.charts`."""
