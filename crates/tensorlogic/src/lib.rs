//! The TensorLogic library: engine, programs, sessions and the interpreter of the scripting layer.
