"""The model against itself: limits and closed forms whose answers are known without it."""
