"""Drawings as SVG that follows the theme of the page."""
