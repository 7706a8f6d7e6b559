"""Published claims, computed on tasks whose optimum is exact: a page and a figure each."""
