package io.xgbpatch.standin;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import software.amazon.ai.mms.servingsdk.Context;
import software.amazon.ai.mms.servingsdk.ModelServerEndpoint;
import software.amazon.ai.mms.servingsdk.annotations.Endpoint;
import software.amazon.ai.mms.servingsdk.annotations.helpers.EndpointTypes;
import software.amazon.ai.mms.servingsdk.http.Request;
import software.amazon.ai.mms.servingsdk.http.Response;

/** Answers GET /execution-parameters of a multi-model endpoint, with which batch transform sizes its requests. */
@Endpoint(urlPattern = "execution-parameters", endpointType = EndpointTypes.INFERENCE, description = "Batch limits")
public class ExecutionParameters extends ModelServerEndpoint {
    private static final String SERVER_DEFAULT = "6553500";
    private static final int MEBIBYTE = 1 << 20;

    @Override
    public void doGet(Request request, Response response, Context context) throws IOException {
        long bytes = Long.parseLong(context.getConfig().getProperty("max_request_size", SERVER_DEFAULT));
        String answer = String.format(
                "{\"MaxConcurrentTransforms\": 1, \"BatchStrategy\": \"MULTI_RECORD\", \"MaxPayloadInMB\": %d}",
                bytes / MEBIBYTE);
        response.setContentType("application/json");
        response.getOutputStream().write(answer.getBytes(StandardCharsets.UTF_8));
    }
}
