"""J(pi) with its interval, score and regret, and how a policy differs from pi*."""
