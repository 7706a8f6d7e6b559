"""Studies: where training signals end, without any sampling."""
