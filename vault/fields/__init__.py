"""Field types: how a value is normalised, validated, masked and padded. Knows no storage, keys or clock."""
