"""What the optimizer reckons with: bounds for ceilings, changes of a policy, and whether a canary does harm. Pure."""
