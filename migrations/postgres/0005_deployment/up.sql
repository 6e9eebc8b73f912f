-- The name of this deployment, by which it knows its own blacklist in Redis. One row, which the first start makes.
CREATE TABLE deployment (
    one INTEGER PRIMARY KEY NOT NULL CHECK (one = 1),
    id TEXT NOT NULL
);
