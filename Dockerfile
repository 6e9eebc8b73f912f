# Latchkey as one static file in an otherwise empty image.
#
#   docker build -t latchkey .
#
# Behind a proxy or with a mirror of the crates registry, pass the configuration of cargo. The image does not contain it:
#   docker build --secret id=cargo-config,src=$HOME/.cargo/config.toml --secret id=ca-certificates,src=ca.crt -t latchkey .

ARG BUILD_IMAGE=docker.io/library/rust:1.95.0-bookworm

# The manifests with empty crates. The dependencies are rebuilt only when the result of this stage changes.
FROM ${BUILD_IMAGE} AS manifests
WORKDIR /source
COPY . .
RUN find . -type f -not -name Cargo.toml -not -name Cargo.lock -delete \
    && find . -name Cargo.toml -execdir sh -c 'mkdir -p src && touch src/lib.rs' \; \
    && echo 'fn main() {}' >src/main.rs

FROM ${BUILD_IMAGE} AS build
# For a test of the image: --build-arg LTO=off --build-arg CODEGEN_UNITS=16 builds in half the time.
ARG LTO=fat
ARG CODEGEN_UNITS=1
# The C libraries are linked statically (glibc: musl's allocator is slow with many threads). Only code for the target is
# static, and build scripts and macros are not. So the commands name the target.
ENV CARGO_PROFILE_RELEASE_CODEGEN_UNITS=${CODEGEN_UNITS} \
    CARGO_PROFILE_RELEASE_LTO=${LTO} \
    CARGO_TARGET_DIR=/target \
    RUSTFLAGS="-C target-feature=+crt-static"
WORKDIR /source
COPY --from=manifests /source .
RUN --mount=type=secret,id=cargo-config,target=/usr/local/cargo/config.toml \
    --mount=type=secret,id=ca-certificates,target=/etc/ssl/certs/ca-certificates.crt \
    cargo build --release --locked --bin latchkey --target "$(rustc --print host-tuple)"

COPY . .
# The files may be older than those of the empty crates, and cargo compares modification times.
RUN --mount=type=secret,id=cargo-config,target=/usr/local/cargo/config.toml \
    --mount=type=secret,id=ca-certificates,target=/etc/ssl/certs/ca-certificates.crt \
    find . -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --bin latchkey --target "$(rustc --print host-tuple)" \
    && mkdir -p /image/etc/ssl/certs /image/var/lib/latchkey \
    && cp "/target/$(rustc --print host-tuple)/release/latchkey" /image/latchkey \
    && echo 'latchkey:x:65532:65532:Latchkey:/var/lib/latchkey:/none' >/image/etc/passwd \
    && echo 'latchkey:x:65532:' >/image/etc/group

FROM scratch
LABEL org.opencontainers.image.title="Latchkey" \
      org.opencontainers.image.description="A JWT access and refresh token service with the wire format of Django's simplejwt" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
# For Postgres and Redis over TLS, from the stage that mounts nothing over them.
COPY --from=manifests /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /image/etc /etc
COPY --from=build --chown=65532:65532 /image/var/lib/latchkey /var/lib/latchkey
COPY --from=build /image/latchkey /latchkey
# A number, so that an engine can verify that the user is not root.
USER 65532:65532
# The only directory that the program writes to, without DATABASE_URL or with keys in files: it creates data/ and keys/.
WORKDIR /var/lib/latchkey
ENV LATCHKEY_BIND=0.0.0.0:8000
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=40s --retries=3 CMD ["/latchkey", "healthcheck"]
ENTRYPOINT ["/latchkey"]
CMD ["serve"]
