"""The zoo's models under the names that other libraries use."""
