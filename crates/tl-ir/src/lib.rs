//! The intermediate representation: ops, the graph with named axes, and the passes over it.
