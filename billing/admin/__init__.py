"""Pages of billing: catalogue, orders, subscriptions and billing rules, side by side in the sidebar."""

from billing.admin import catalog, orders, rules, subscriptions, units

__all__ = ["catalog", "orders", "rules", "subscriptions", "units"]
