/*
 * Preloaded where the image is built, so that the same sources give the same bytes: chance for build scripts that is the same
 * each time. Maps of Rust's standard library are seeded by getrandom(2), and the build script of a dependency writes a parser's
 * table in the order of such maps. Whatever is no build script gets the kernel's own; the binary in the image is static, does
 * not run here, and knows nothing of this.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static const char BUILD_SCRIPT[] = "build-script-";

ssize_t getrandom(void *buffer, size_t length, unsigned flags) {
	if (strncmp(program_invocation_short_name, BUILD_SCRIPT, sizeof BUILD_SCRIPT - 1) != 0)
		return syscall(SYS_getrandom, buffer, length, flags);
	/* All calls alike: threads may come in any order. */
	memset(buffer, 42, length);
	return (ssize_t)length;
}
