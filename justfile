# `just verify` checks and changes nothing; `just fix` rewrites what can be rewritten.

# Everything that CI checks but the rules of Prometheus and the dependencies; read-only.
verify:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
    cargo test --workspace

# Formats, and applies what clippy knows how to apply.
fix:
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
    cargo fmt --all
