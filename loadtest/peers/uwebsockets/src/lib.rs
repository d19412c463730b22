//! Nothing: this package exists so that cargo fetches what `build` compiles.
