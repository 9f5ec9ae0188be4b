# One image with both programs, static and without a shell: run it as `starter …` or `worker`.
FROM --platform=$BUILDPLATFORM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG TARGETOS TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -o /out/ ./starter ./worker

FROM gcr.io/distroless/static-debian12:nonroot
# For health checks from inside, such as docker compose's. Kubernetes asks /readyz itself.
COPY --from=busybox:1.37.0-musl /bin/wget /usr/local/bin/wget
COPY --from=build /out/starter /out/worker /usr/local/bin/
# A container's loopback reaches nobody.
ENV HOLDFAST_LISTEN=0.0.0.0:8080 HOLDFAST_METRICS_LISTEN=0.0.0.0:9090
EXPOSE 8080 9090
USER nonroot
CMD ["starter", "serve"]
