# The commands of this repository: `just`, or scripts/help without just. The comment above a recipe describes it.

set positional-arguments

[private]
default:
    @just --list --unsorted

# Run the service on an embedded database, with the arguments of latchkey serve
serve *ARGUMENTS:
    cargo run --release -- serve "$@"

# Run a command with a throwaway Postgres and Redis
services +COMMAND:
    scripts/services "$@"

# Run all tests; arguments go to cargo test
test *ARGUMENTS:
    scripts/test "$@"

# Run the tests whose path contains FILTER, such as http::user
test-one FILTER *ARGUMENTS:
    scripts/test "$@"

# Run all gates, or only those named (.ci/run --list)
ci *GATES:
    .ci/run "$@"

# Format the sources
fmt:
    cargo fmt --all

# Run Clippy
lint:
    .ci/run clippy

# Check wording and spelling
words:
    scripts/words

# Check that no source file is too long
lines:
    scripts/lines

# Check that related files agree: settings, .env.example, OpenAPI, lock file
drift:
    scripts/drift

# Check licences, sources and advisories of the dependencies
deny:
    scripts/deny

# Build the documentation of the code
docs:
    .ci/run docs

# Compare the server with its OpenAPI document, with generated requests
contract *ARGUMENTS:
    scripts/contract "$@"

# Inject faults under load and report their effect on clients
faults *ARGUMENTS:
    scripts/faults "$@"

# Rotate keys under load on three servers
rotations *ARGUMENTS:
    scripts/rotations "$@"

# Measure each operation beside its limit
bench *ARGUMENTS:
    scripts/bench "$@"

# Fuzz the parsers of tokens, headers, claims, key sets and key files
fuzz *ARGUMENTS:
    scripts/fuzz "$@"

# Check the Dockerfile, the Compose file and the workflows, and run the image
image *ARGUMENTS:
    scripts/image "$@"

# Regenerate the generated pages in docs/reference
reference:
    scripts/reference
