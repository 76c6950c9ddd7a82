"""Engines that compute exported models, without torch."""
