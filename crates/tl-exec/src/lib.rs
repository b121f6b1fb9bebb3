//! Planning, memory arena, stores, and the scalar reference backend.
