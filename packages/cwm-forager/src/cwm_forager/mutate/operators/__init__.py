"""The operators that ship: small rewrites on libcst's concrete syntax trees."""
