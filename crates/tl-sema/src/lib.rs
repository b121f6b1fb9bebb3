//! Names, indices, domains, sizes, projection scope, staging and lowering.
