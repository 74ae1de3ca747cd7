/* SPDX-License-Identifier: Apache-2.0 */
/* berth-mockcloud: a fake cloud as a program. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "aws/aws_mock.h"
#include "aws/wire_fabric.h"
#include "berth/err.h"
#include "berth/fs.h"
#include "berth/json.h"
#include "berth/log.h"
#include "berth/str.h"

#define SEED_MAX (8U << 20) /* bytes */

static const char usage[] = "usage: berth-mockcloud aws --seed FILE [options]\n"
			    "  --seed FILE                   what is there at the start (mocks/aws/seed.h)\n"
			    "  --api ADDR:PORT               EC2 API and control endpoint (127.0.0.1:0)\n"
			    "  --metadata ADDR:PORT          metadata service of the first instance; with --fabric of "
			    "whoever asks (127.0.0.1:0)\n"
			    "  --metadata-for NAME=ADDR:PORT another one, for that instance\n"
			    "  --fabric PREFIX               make the model's changes in this VPC in a box\n"
			    "  --ready FILE                  written when all listeners are up: their URLs as JSON\n"
			    "  --log FILE                    one JSON line per call\n"
			    "  --die-with-parent             end when the parent process does\n";

struct options {
	const char *seed, *fabric, *ready, *log;
	bool die_with_parent;
	struct aws_mock_options aws;
};

static int add_metadata_for(struct options *options, char *text)
{
	char *equals = strchr(text, '=');

	if (!equals || options->aws.metadata_for_count == AWS_MOCK_METADATA_MAX)
		return -1;
	*equals = '\0';
	options->aws.metadata_for[options->aws.metadata_for_count++] =
		(struct aws_mock_metadata){ .instance = text, .listen = equals + 1 };
	return 0;
}

static int options_parse(int argc, char **argv, struct options *options)
{
	enum { SEED = 1, API, METADATA, METADATA_FOR, FABRIC, READY, LOG, DIE };
	static const struct option table[] = {
		{ "seed", required_argument, NULL, SEED },
		{ "api", required_argument, NULL, API },
		{ "metadata", required_argument, NULL, METADATA },
		{ "metadata-for", required_argument, NULL, METADATA_FOR },
		{ "fabric", required_argument, NULL, FABRIC },
		{ "ready", required_argument, NULL, READY },
		{ "log", required_argument, NULL, LOG },
		{ "die-with-parent", no_argument, NULL, DIE },
		{ 0 },
	};
	int which;

	while ((which = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (which) {
		case SEED:
			options->seed = optarg;
			break;
		case API:
			options->aws.api = optarg;
			break;
		case METADATA:
			options->aws.metadata = optarg;
			break;
		case METADATA_FOR:
			if (add_metadata_for(options, optarg) < 0)
				return -1;
			break;
		case FABRIC:
			options->fabric = optarg;
			options->aws.by_source = true;
			break;
		case READY:
			options->ready = optarg;
			break;
		case LOG:
			options->log = optarg;
			break;
		case DIE:
			options->die_with_parent = true;
			break;
		default: /* getopt has said what is wrong */
			return -1;
		}
	}
	return options->seed && optind == argc ? 0 : -1;
}

static int write_ready(const struct options *options, const struct aws_mock *mock, struct err *err)
{
	json_t *more = json_object();

	for (unsigned i = 0; i < options->aws.metadata_for_count; i++) {
		const char *name = options->aws.metadata_for[i].instance;

		(void)json_object_set_new(more, name, json_string(aws_mock_metadata_url(mock, name)));
	}
	json_t *json = json_pack("{s:s, s:s, s:s, s:o, s:i}", "api", aws_mock_api_url(mock), "metadata",
				 aws_mock_metadata_url(mock, NULL), "control", aws_mock_api_url(mock), "metadata_for",
				 more, "pid", (int)getpid());
	_cleanup_free_ char *text = json_print(json);

	json_decref(json);
	if (!text)
		return err_set_errno(err, ERR_RETRY, "mock", ENOMEM, "ready file");
	int rc = fs_write_atomic(options->ready, text, strlen(text), 0644);

	return rc < 0 ? err_set_errno(err, ERR_INVALID, "mock", -rc, "write %s", options->ready) : 0;
}

/* Until somebody wants us to end. The signals are blocked in every thread, so that they wait for this one. */
static int wait_for_end(const sigset_t *signals)
{
	int got = 0;

	return sigwait(signals, &got);
}

static int serve(struct options *options, const sigset_t *signals, struct err *err)
{
	_cleanup_free_ char *seed = NULL;
	struct aws_mock *mock;
	int rc = fs_read(options->seed, SEED_MAX, &seed, NULL);

	if (rc < 0)
		return err_set_errno(err, ERR_INVALID, "mock", -rc, "read %s", options->seed);
	if (aws_mock_start(seed, &options->aws, &mock, err) < 0)
		return -1;
	rc = options->ready ? write_ready(options, mock, err) : 0;
	if (rc == 0)
		(void)wait_for_end(signals);
	aws_mock_stop(mock);
	return rc;
}

static int run(struct options *options, const sigset_t *signals, struct err *err)
{
	struct aws_mock_net_ops net = { 0 };
	_cleanup_close_ int log_fd = -1;
	int rc;

	if (options->log) {
		log_fd = open(options->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
		if (log_fd < 0)
			return err_set_errno(err, ERR_INVALID, "mock", errno, "open %s", options->log);
	}
	options->aws.log_fd = log_fd;
	if (!options->fabric)
		return serve(options, signals, err);
	if (aws_wire_fabric_open(options->fabric, &net, err) < 0)
		return -1;
	options->aws.net = &net;
	rc = serve(options, signals, err);
	options->aws.net = NULL;
	aws_wire_fabric_close(&net);
	return rc;
}

int main(int argc, char **argv)
{
	struct options options = { 0 };
	struct err err = { 0 };
	sigset_t signals;

	log_init("berth-mockcloud", STDERR_FILENO, LOG_INFO_);
	if (argc >= 2 && str_equal(argv[1], "--help")) {
		(void)fputs(usage, stdout);
		return 0;
	}
	if (argc < 2 || !str_equal(argv[1], "aws") || options_parse(argc - 1, argv + 1, &options) < 0) {
		(void)fputs(usage, stderr);
		return 2;
	}
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
	pid_t parent = getppid();

	if (options.die_with_parent && (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent))
		return 1;
	if (run(&options, &signals, &err) < 0) {
		log_error("cannot serve", LOG_ERR_FMT, LOG_ERR_ARGS(&err));
		return 1;
	}
	return 0;
}
