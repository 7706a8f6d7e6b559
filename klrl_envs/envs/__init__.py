"""The Gymnasium environments: one engine, its single and its vector form, and what they show."""
