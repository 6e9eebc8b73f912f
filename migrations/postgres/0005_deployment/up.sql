-- The id of this deployment, which identifies its blacklist in Redis. One row, created by the first start.
CREATE TABLE deployment (
    one INTEGER PRIMARY KEY NOT NULL CHECK (one = 1),
    id TEXT NOT NULL
);
