"""The proxy: clients of providers' APIs are governed by changing one URL. Every call is decided before it leaves."""
