"""What one hop per id and interest per group cost with many nodes: measured and computed."""
