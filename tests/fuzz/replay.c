/* SPDX-License-Identifier: Apache-2.0 */
/* A fuzz target without a fuzzer: runs every file of tests/fuzz/corpus/NAME, and each cut short at every 7th byte. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "berth/attr.h"
#include "berth/fs.h"

#define INPUT_MAX (1U << 20) /* bytes */
#define CUT_STEP  7U         /* prime, so that cuts fall into every kind of token */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* On the heap and exactly as long as it claims: a read beyond the end is seen by the sanitizer. */
static int run(const char *text, size_t size)
{
	uint8_t *exact = malloc(size ? size : 1);

	if (!exact)
		return -1;
	memcpy(exact, text, size);
	(void)LLVMFuzzerTestOneInput(exact, size);
	free(exact);
	return 0;
}

static int replay(const char *path)
{
	_cleanup_free_ char *text = NULL;
	size_t size;

	if (fs_read(path, INPUT_MAX, &text, &size) < 0 || run(text, size) < 0)
		return -1;
	for (size_t cut = 0; cut < size; cut += CUT_STEP)
		if (run(text, cut) < 0)
			return -1;
	return 0;
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/');
	char folder[256], path[512];
	unsigned count = 0, failed = 0;
	struct dirent *entry;
	DIR *dir;

	(void)argc;
	name = name ? name + 1 : argv[0];
	(void)snprintf(folder, sizeof(folder), "tests/fuzz/corpus/fuzz_%s", name + strlen("replay_"));
	dir = opendir(folder);
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		failed += replay(path) < 0;
		count++;
	}
	if (dir)
		(void)closedir(dir);
	(void)printf("%sok 1 - %u inputs of %s, whole and cut short\n1..1\n", count && !failed ? "" : "not ", count,
		     folder);
	return count && !failed ? 0 : 1;
}
