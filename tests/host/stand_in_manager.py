"""A custom node for tests alone: says what the host's manager holds, and has it make room as another model would."""

import comfy.model_management as management
from aiohttp import web
from server import PromptServer


def held() -> list[str]:
    """What is loaded now, by the names that our networks go by."""
    models = [loaded.model for loaded in management.current_loaded_models]
    return sorted(getattr(model.model, "name", type(model.model).__name__) for model in models if model is not None)


@PromptServer.instance.routes.get("/stand_in/held")
async def what_is_held(request):
    return web.json_response(held())


@PromptServer.instance.routes.post("/stand_in/push")
async def push(request):
    """Make room for a model that wants more than there is."""
    management.free_memory(1 << 50, management.get_torch_device())
    return web.json_response(held())


NODE_CLASS_MAPPINGS = {}
