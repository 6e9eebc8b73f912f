//! The endpoints, one file each.

mod life;
