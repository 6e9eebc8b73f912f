DROP TABLE signing_key_ring;
DROP TABLE signing_keys;
