"""The signed outgoing webhook (Standard Webhooks)."""
