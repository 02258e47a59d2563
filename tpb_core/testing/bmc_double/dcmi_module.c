/* DCMI "Get Power Reading" for ipmi_sim (OpenIPMI), which has none of its own.
 *
 * The init string is a file that is read at every request: "WATTS STATE CODE DELAY_MS", of which only the first is needed. STATE is the last
 * byte of the answer (0x40: activated), CODE a completion code other than 0 to refuse with, DELAY_MS a pause before the answer.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <OpenIPMI/serv.h>
#include <OpenIPMI/mcserv.h>

static char watts_file[512];

static void answer_dcmi(lmc_data_t *mc, msg_t *msg, unsigned char *answer, unsigned int *length, void *data)
{
	int watts = 0, state = 0x40, code = 0, delay_ms = 0;
	FILE *file = fopen(watts_file, "r");
	if (file) {
		if (fscanf(file, "%i %i %i %i", &watts, &state, &code, &delay_ms) < 1)
			watts = 0;
		fclose(file);
	}
	if (delay_ms > 0) {
		struct timespec pause = {delay_ms / 1000, (delay_ms % 1000) * 1000000L};
		nanosleep(&pause, NULL);
	}
	answer[0] = msg->cmd == 2 ? code : 0xc1; /* 0xc1: invalid command */
	*length = 1;
	if (answer[0])
		return;
	memset(answer + 1, 0, 18);
	answer[1] = 0xdc;
	for (int field = 0; field < 4; field++) {
		answer[2 + 2 * field] = watts & 0xff;
		answer[3 + 2 * field] = (watts >> 8) & 0xff;
	}
	time_t now = time(NULL);
	for (int byte = 0; byte < 4; byte++)
		answer[10 + byte] = (now >> (8 * byte)) & 0xff;
	answer[14] = 0xe8; /* statistics period: 1000 ms */
	answer[15] = 0x03;
	answer[18] = state;
	*length = 19;
}

int ipmi_sim_module_init(sys_data_t *sys, const char *options)
{
	snprintf(watts_file, sizeof watts_file, "%s", options);
	ipmi_emu_register_group_extension_handler(0xdc, answer_dcmi, NULL);
	return 0;
}
