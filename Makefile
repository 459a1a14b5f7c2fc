# The two commands of the README: `make demo` and `make test`. Everything else is `cargo xtask`.
.PHONY: demo test build

build:
	@scripts/packages.sh build
	cargo build --release -p server -p insurance

demo: build
	@scripts/packages.sh demo
	@scripts/aws-cli.sh
	@scripts/demo.sh

test:
	@scripts/packages.sh build demo test
	@scripts/aws-cli.sh
	@scripts/test.sh
